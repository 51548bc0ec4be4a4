"""What keeps this repository in order: pages that are written from the code. Not part of the installed product."""
