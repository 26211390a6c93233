"""Identity of user code: which code a recipe can reach, and which part of it is hashed."""
