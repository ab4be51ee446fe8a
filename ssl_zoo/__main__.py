"""`python -m ssl_zoo` is the command `ssl-zoo`, as launchers such as torchrun want it."""

from ssl_zoo.cli import main

if __name__ == "__main__":
    main()
