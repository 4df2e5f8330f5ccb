"""What every package may use and nobody needs to know about: messages, files, threads, several processes of one run."""
