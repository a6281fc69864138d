"""Operations that decide the speed of everything above: a readable definition and fast twins."""
