"""What is worth an alert: stateless rules on each event, gaps in what taps say."""
