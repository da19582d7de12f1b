"""How many filters there are to be, and for how long: the settings of template and pools from the configuration. Pure.

Called by the master for the template, and by `relay.process` for its own pool. A module of its own, because the master
must not carry the memory of a whole relay for it.
"""

from gatepost.config.schema import Config
from gatepost.filter.settings import FilterSettings


def filter_settings(config: Config, maximum: int) -> FilterSettings:
    """Return the settings of the template, or of one relay's pool; `maximum` filters."""
    filters = config.filter
    return FilterSettings(
        maximum=maximum,
        minimum=max(filters.server_start_filters, filters.server_spare_filters and 1),
        spare=max(filters.server_spare_filters, filters.server_start_filters),
        quota=filters.filter_max_messages,
        quota_random=filters.filter_rand_messages,
        idle_s=filters.filter_max_idle,
        delayed_exit_s=int(filters.filter_delayed_exit),
        memory_bytes=filters.filter_memory_limit,
        remotes=config.engines,
        antispam=any(group.check_spam for group in config.groups),
        recognise_text=config.antispam.recognise_text,
        recognise_text_data=config.antispam.recognise_text_data,
        previews=config.console.enabled or config.user_quarantine.enabled,
    )
