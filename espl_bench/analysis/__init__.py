"""What finished runs say: attribution, verification, contamination, histories of ratings and prompts."""
