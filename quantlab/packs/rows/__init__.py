"""Operations on tensors with one row per trial of a pack."""
