"""`python -m service` is `limen`."""

from service.cli import main

if __name__ == "__main__":
    main()
