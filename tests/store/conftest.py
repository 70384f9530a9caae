import pytest

pytest.register_assert_rewrite("kallista.testing.store_contract")
