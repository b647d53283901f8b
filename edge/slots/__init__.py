"""Two copies of models that have judged on this device, and which of them judges when the new one fails."""
