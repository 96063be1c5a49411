"""What each family is compared with: public implementations, or rewritten plainly from their papers."""
