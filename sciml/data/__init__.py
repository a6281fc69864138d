"""Data: files, labelled data sets, generation, splits and the catalogue of references."""
