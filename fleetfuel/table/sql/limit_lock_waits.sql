-- Waits for a lock end after half a minute, unless the URL or the role says otherwise.
select set_config('lock_timeout', '30s', false) as lock_timeout
where current_setting('lock_timeout') = '0'
