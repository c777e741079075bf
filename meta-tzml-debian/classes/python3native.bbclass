# The Python for the build: the project's own environment (.venv), made from requirements.lock.

inherit python3-dir

PYTHON = "${PYTHON_HOST}"
PATH:prepend = "${@os.path.dirname(d.getVar('PYTHON_HOST'))}:"
export PYTHONDONTWRITEBYTECODE = "1"
