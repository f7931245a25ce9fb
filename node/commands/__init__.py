"""What each command of ``quorate`` does, one file per group; node/cli.py only names them."""
