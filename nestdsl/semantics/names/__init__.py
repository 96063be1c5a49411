"""The second phase: what files and bodies declare, and what a name means."""
