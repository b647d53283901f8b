"""The words that training and the device share: bundle, preprocessing, messages."""
