"""Wire formats that several dissectors share. Pure."""
