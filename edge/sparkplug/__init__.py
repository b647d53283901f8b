"""The verdicts as Sparkplug B 3.0 tells them: an edge node, for plants whose SCADA speaks that."""
