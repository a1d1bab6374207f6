"""The HTML pages: routes, and the texts and charts that they show."""
