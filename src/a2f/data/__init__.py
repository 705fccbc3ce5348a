"""Training images: folders, patches in memory."""
