/* Windows shortcuts, as `text/x-lnk-command`: `target: …`, `arguments: …` and the like, one a line. */

rule shortcut_command {
    meta:
        threat = "Heuristic.Shortcut.Command"
        outcome = "suspicious"
        evidence = "a Windows shortcut that starts a command interpreter with a command of its own"
    strings:
        $target = /(powershell|pwsh|cmd(\.exe)?|comspec|mshta|wscript|cscript|rundll32|regsvr32|certutil|bitsadmin|msiexec|forfiles|pcalua|conhost|schtasks|explorer)(\.exe)?\b/ nocase
        $arguments = /(^|\n)arguments:\s*\S{2}/ nocase
    condition:
        object_type == "text/x-lnk-command" and all of them
}

rule shortcut_remote {
    meta:
        threat = "Heuristic.Shortcut.Remote"
        outcome = "suspicious"
        evidence = "a Windows shortcut to a program on another host"
    strings:
        $share = /(target|arguments|working directory)[^\n]{0,10}: [^\n]{0,200}(\\\\\d{1,3}\.\d{1,3}\.\d|\\\\[^\\\s]{1,100}@(ssl|80|443|8080)|davwwwroot)/ nocase
        $web = /(^|\n)(target|target items|arguments):[^\n]{0,400}https?:\/\// nocase
    condition:
        object_type == "text/x-lnk-command" and any of them
}
