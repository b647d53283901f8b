"""The workstation: labelled pictures become a bundle that a device can judge with."""
