# the runtime check is named to pytest as "tests.typecheck.checked", of which only "tests" is imported for us
from tests import typecheck as typecheck
