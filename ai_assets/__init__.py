"""The lineage graph: what is made, from what, and how it is checked."""
