"""What tries to break each claim: tests in `tests/claims/`, most of which take one wall away and see it noticed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_PROBED: Final = "test_installation.py::test_the_claim_holds_where_it_runs"
_BROKEN: Final = "test_broken_walls.py::"
_BROKEN_SECRECY: Final = "test_broken_walls_secrecy.py::"
_BROKEN_ANSWERS: Final = "test_broken_walls_answers.py::"
_BROKEN_OPERATOR: Final = "test_broken_walls_operator.py::"
_BROKEN_RECORDS: Final = "test_broken_walls_records.py::"
_BROKEN_MATERIALIZE: Final = "test_broken_walls_materialize.py::"
_BROKEN_LEDGER: Final = "test_broken_walls_ledger.py::"
_MATRIX: Final = "test_ledger_tampering.py::"
_BYTES: Final = "test_ledger_bytes.py::"

ATTACKS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "F1": (
            "test_fail_closed.py::test_a_check_that_fails_denies_the_action",
            _PROBED,
            _BROKEN_LEDGER + "test_f1_a_proxy_that_goes_on_without_its_ledger_is_seen",
        ),
        "D2": (
            _PROBED,
            _BROKEN + "test_d2_a_gateway_that_can_read_the_key_is_seen",
            _BROKEN_OPERATOR + "test_d2_what_other_users_can_open_is_seen",
            _BROKEN_OPERATOR + "test_d2_a_proxy_that_may_dump_its_core_is_seen",
            _BROKEN_OPERATOR + "test_d2_an_operator_s_door_that_asks_for_no_token_is_seen",
            _BROKEN_OPERATOR + "test_d2_an_operator_s_door_that_takes_the_gateway_s_bearer_is_seen",
        ),
        "D3": (
            "test_bearer_walk.py::test_the_operators_routes_are_none_of_the_gateways_door",
            "test_bearer_walk.py::test_no_route_of_the_gateways_door_does_what_an_operators_body_says",
            "test_bearer_walk.py::test_the_gateways_bearer_opens_no_route_of_the_operators_door",
            _PROBED,
            _BROKEN + "test_d3_a_proxy_that_ignores_bindings_is_seen",
            _BROKEN + "test_d3_a_proxy_that_ignores_one_field_of_a_binding_is_seen",
            _BROKEN + "test_d3_a_proxy_that_takes_any_approval_is_seen",
            _BROKEN + "test_d3_a_proxy_that_does_not_compare_what_was_approved_is_seen",
            _BROKEN + "test_d3_a_proxy_that_takes_an_approval_twice_is_seen",
            _BROKEN + "test_d3_a_proxy_that_follows_redirects_is_seen",
            _BROKEN + "test_d3_a_proxy_that_refuses_without_a_record_is_seen",
            _BROKEN + "test_d3_a_proxy_that_passes_its_own_bearer_on_is_seen",
            _BROKEN + "test_d3_a_proxy_that_lets_the_credential_come_back_is_seen",
            _BROKEN_ANSWERS + "test_d3_a_cookie_of_the_account_s_session_that_comes_back_is_seen",
            _BROKEN_ANSWERS + "test_d3_a_session_of_the_caller_s_in_the_path_that_goes_is_seen",
            _BROKEN_OPERATOR + "test_d3_an_assertion_of_another_page_that_is_taken_is_seen",
            _BROKEN_OPERATOR + "test_d3_a_decision_without_the_enrolled_passkey_is_seen",
            _BROKEN_OPERATOR + "test_d3_an_assertion_that_is_not_looked_at_in_full_is_seen",
        ),
        "D4": (_PROBED, _BROKEN + "test_d4_a_gateway_without_its_walls_is_seen"),
        "V1": (
            _PROBED,
            _BROKEN + "test_v1_a_credential_in_plain_on_the_disk_is_seen",
            _BROKEN + "test_v1_a_start_that_takes_an_old_copy_is_seen",
            "test_vault_tampering.py::test_each_flipped_bit_of_each_value_is_refused",
            "test_vault_tampering.py::test_each_swap_of_columns_between_two_records_is_refused",
            "test_vault_tampering.py::test_each_rename_and_rebinding_is_refused",
            "test_vault_tampering.py::test_each_removed_row_and_each_doubled_one_is_refused",
            "test_vault_tampering.py::test_whatever_stood_there_yesterday_is_refused_today",
            "test_vault_tampering.py::test_no_flipped_byte_of_the_whole_file_gives_a_wrong_secret",
            "test_vault_tampering.py::test_a_vault_whose_schema_somebody_changed_is_neither_opened_nor_adopted",
        ),
        "V2": (
            _PROBED,
            _BROKEN + "test_v2_a_key_that_everybody_can_read_is_seen",
            _BROKEN + "test_v2_a_rotation_that_leaves_the_old_slot_in_place_is_seen",
            _BROKEN + "test_v2_a_restore_that_parks_nothing_is_seen",
            _BROKEN + "test_v2_a_backup_that_holds_the_key_is_seen",
        ),
        "V3": (_PROBED, _BROKEN_SECRECY + "test_v3_a_proxy_that_keeps_a_credential_after_its_use_is_seen"),
        "V4": (
            _PROBED,
            _BROKEN_SECRECY + "test_v4_a_door_that_gives_out_a_credential_is_seen",
            _BROKEN_SECRECY + "test_v4_entries_that_are_an_oracle_without_end_are_seen",
            _BROKEN_OPERATOR + "test_v4_a_vault_page_that_answers_a_foreign_name_is_seen",
            _BROKEN_OPERATOR + "test_v4_a_vault_page_that_takes_forms_from_elsewhere_is_seen",
            _BROKEN_OPERATOR + "test_v4_a_session_without_its_cookie_is_seen",
            _BROKEN_OPERATOR + "test_v4_a_session_that_lives_at_any_path_is_seen",
            _BROKEN_OPERATOR + "test_v4_forms_without_a_token_are_seen",
            _BROKEN_OPERATOR + "test_v4_one_form_without_a_token_is_seen",
            _BROKEN_OPERATOR + "test_v4_a_vault_page_that_may_be_framed_or_kept_is_seen",
        ),
        "V5": (
            "test_materialize.py::test_what_is_armed_is_given_to_one_of_many_that_ask_at_once",
            "test_materialize.py::test_a_proxy_that_was_killed_is_armed_no_more",
            _PROBED,
            _BROKEN_MATERIALIZE + "test_v5_an_allow_list_that_allows_all_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_an_allow_list_that_is_wider_by_one_service_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_an_arming_that_is_not_spent_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_a_window_without_an_end_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_a_clock_that_may_be_moved_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_an_arming_that_outlives_a_lockdown_is_seen",
            _BROKEN_MATERIALIZE + "test_v5_a_credential_that_is_given_out_without_a_record_is_seen",
        ),
        "I1": (
            _PROBED,
            _BROKEN_SECRECY + "test_i1_a_scrubber_that_does_not_know_a_spelling_is_seen",
            _BROKEN_ANSWERS + "test_i1_a_scrubber_that_does_not_read_as_a_reader_is_seen",
        ),
        "I2": (
            _PROBED,
            _BROKEN_SECRECY + "test_i2_a_library_that_logs_what_is_sent_is_seen",
            _BROKEN_SECRECY + "test_i2_a_request_that_is_put_on_record_as_it_was_worded_is_seen",
        ),
        "I3": (_PROBED, _BROKEN_SECRECY + "test_i3_an_error_boundary_that_answers_with_the_error_s_text_is_seen"),
        "I4": (_PROBED, _BROKEN_SECRECY + "test_i4_an_echo_that_is_learnt_by_heart_is_seen"),
        "I5": (_PROBED, _BROKEN + "test_i5_a_list_with_a_field_more_is_seen"),
        "S1": (
            _PROBED,
            _BROKEN + "test_s1_a_guard_that_lets_a_private_address_pass_is_seen",
            _BROKEN + "test_s1_a_guard_that_judges_the_first_address_alone_is_seen",
            _BROKEN + "test_s1_a_proxy_that_dials_another_address_than_the_one_checked_is_seen",
        ),
        "S2": (
            _PROBED,
            _BROKEN + "test_s2_a_proxy_that_sends_the_placeholder_as_it_is_is_seen",
            _BROKEN + "test_s2_a_credential_that_is_put_in_before_the_checks_is_seen",
            _BROKEN + "test_s2_a_secret_that_is_put_into_the_path_unescaped_is_seen",
            _BROKEN + "test_s2_a_caller_s_header_beside_the_injected_one_is_seen",
            _BROKEN + "test_s2_a_line_break_in_a_header_is_seen",
        ),
        "P1": (_PROBED, _BROKEN + "test_p1_a_comparison_by_letters_alone_is_seen"),
        "P2": (_PROBED, _BROKEN + "test_p2_a_broker_that_calls_before_it_decides_is_seen"),
        "A2": (_PROBED, _BROKEN + "test_a2_a_page_that_answers_a_foreign_host_is_seen"),
        "L1": (
            "test_everything_is_recorded.py::test_each_route_of_the_proxy_stands_in_the_walk",
            "test_everything_is_recorded.py::test_each_form_of_the_vault_page_leaves_its_event",
            "test_everything_is_recorded.py::test_each_change_at_the_gateway_leaves_its_event",
            "test_everything_is_recorded.py::test_each_command_leaves_its_event",
            _PROBED,
            _BROKEN_RECORDS + "test_l1_an_operator_s_change_without_a_record_is_seen",
            _BROKEN_RECORDS + "test_l1_a_failed_sign_in_without_a_record_is_seen",
            _BROKEN_RECORDS + "test_l1_an_administration_that_records_nothing_is_seen_by_the_walk",
        ),
        "L2": (
            _MATRIX + "test_each_attack_is_detected_and_located_as_the_table_says",
            _BYTES + "test_a_flipped_bit_of_the_database_is_noticed_or_changes_nothing_that_is_read",
            _BYTES + "test_a_flipped_bit_of_ledger_signed_is_noticed",
            _BYTES + "test_a_flipped_bit_of_an_export_is_noticed",
            _BYTES + "test_a_flipped_bit_of_what_is_remembered_never_says_that_the_ledger_holds",
            _PROBED,
            _BROKEN_LEDGER + "test_l2_a_ledger_that_was_tampered_with_is_seen",
            _BROKEN_LEDGER + "test_l2_a_verification_that_looks_away_is_seen",
            _BROKEN_LEDGER + "test_l2_a_start_that_does_not_ask_how_far_the_log_was_signed_is_seen",
            _BROKEN_LEDGER + "test_l2_a_start_that_takes_what_the_key_has_not_signed_is_seen",
        ),
        "L3": (_PROBED, _BROKEN_LEDGER + "test_l3_a_filter_that_hides_a_suspicious_event_is_seen"),
        "L4": (
            _PROBED,
            _BROKEN_LEDGER + "test_l4_a_proxy_that_does_not_record_is_seen",
            _BROKEN_LEDGER + "test_l4_a_door_that_takes_any_event_from_the_gateway_is_seen",
        ),
        "B1": (_PROBED, _BROKEN + "test_b1_a_sandbox_with_a_hole_is_seen"),
    }
)
"""By the claim's id. A claim that is not here is deferred, and says until when."""
