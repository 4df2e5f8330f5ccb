"""The four questions, each a function from `Features` to a `Result`; import them from `rgbd_insight`."""
