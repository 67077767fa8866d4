"""Coverage-guided fuzzing of every parser that meets bytes of others."""
