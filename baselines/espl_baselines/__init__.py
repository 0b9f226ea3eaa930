"""The methods that E-SPL is compared with. Each is a row of choices for the one loop."""
