"""One file per application protocol and nothing else; the file's name is the protocol's label."""
