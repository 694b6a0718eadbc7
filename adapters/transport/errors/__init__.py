"""What a server says when it fails -> one of our errors, with a sentence that a person can hear."""
