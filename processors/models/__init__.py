"""Trained models: their files, checked before they are believed, and the book that puts them in force."""
