"""Everything people type and see."""
