"""The lab: boots an image on a board or an emulator with labgrid, tests it there, and keeps what it measured."""
