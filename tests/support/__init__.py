"""What several tests share: where the repository is, and readers of its code and documents."""
