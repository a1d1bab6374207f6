"""A stage that is carried out elsewhere: sent to the head of the cluster, followed, stopped, and brought back."""
