"""Everything that touches HTTP: the client, the witness of a call, the reader of answers, and their failures."""
