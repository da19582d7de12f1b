"""Known images, told by how they look (F-AS-18)."""
