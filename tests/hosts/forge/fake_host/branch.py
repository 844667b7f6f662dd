"""Which of Forge's branches this is: ``forge`` or ``neo``. A test sets it before it imports."""

NAME = "forge"
