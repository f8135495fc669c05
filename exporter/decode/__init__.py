"""From a frame's bytes to a packet: link layers, IP, transports, tunnels, fragments. Pure."""
