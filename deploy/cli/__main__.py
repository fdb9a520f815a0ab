"""`python -m deploy.cli`, the same as `sigmawatch`."""

from deploy.cli.main import run

if __name__ == "__main__":
    run()
