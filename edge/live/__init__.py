"""How the daemon fares, for whoever asks on the device itself: broker, network and disk may be away."""
