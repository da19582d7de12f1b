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
        $share = /(target|arguments|working folder|icon)[^\n]{0,24}: [^\n]{0,200}(\\\\\d{1,3}\.\d{1,3}\.\d|\\\\[^\\\s]{1,100}@(ssl|80|443|8080)|davwwwroot)/ nocase
        $web = /(^|\n)(target|target items|arguments):[^\n]{0,400}https?:\/\// nocase
    condition:
        object_type == "text/x-lnk-command" and any of them
}

rule shortcut_to_script {
    meta:
        threat = "Heuristic.Shortcut.Script"
        outcome = "suspicious"
        evidence = "a Windows shortcut to a script, or to a program that lies beside it: what came with it is run"
    strings:
        $script = /(^|\n)(relative path|target)[^\n]{0,20}: [^\n]{0,400}\.(vbs|vbe|js|jse|wsf|hta|ps1|bat|cmd|scr|pif)\s{0,9}(\n|$)/ nocase
        $beside = /(^|\n)relative path: \.\\[^\n]{0,400}\.(exe|com|dll|cpl)\s{0,9}(\n|$)/ nocase
    condition:
        object_type == "text/x-lnk-command" and any of them
}
