"""What the model is worth: figures, calibration, decision rule, report."""
