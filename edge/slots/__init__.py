"""Two copies of models that have proven themselves on this device, and which of them judges when the new one fails."""
