"""GitHub as a source of repositories: asked with manners, sliced below its caps, every answer kept."""
