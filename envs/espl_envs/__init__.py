"""espl-bench's own environments and the small laboratory models they run on."""
