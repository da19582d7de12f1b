/*
   Scripts and small files of systems other than Windows, and the texts of media players, calendars and address books
   that reach for another host. Hosts inside a network have names without a dot.
*/

rule shell_downloader {
    meta:
        threat = "Heuristic.Script.Shell"
        outcome = "suspicious"
        evidence = "a shell script that runs what it fetches or decodes, unseen"
    strings:
        $fetch = /\b(curl|wget|fetch)\s[^\n|;]{1,400}\|\s{0,9}(sudo\s{1,9})?(\/[a-z\/]{3,20}\/)?(env\s{1,9})?(ba|da|k|z)?sh\b/
        $inline = /\b(ba|da|k|z)?sh\s{1,9}(-c\s{1,9}["']?\$\(|<\(\s{0,9})(curl|wget)\s/
        $eval = /\beval\s{1,9}["']?(\$\(|`)\s{0,9}(curl|wget|base64|openssl|xxd)\b/
        $decode = /\b(base64\s{1,9}(-d|-D|--decode)|xxd\s{1,9}-r|openssl\s{1,9}enc\s[^\n|;]{0,100}-d)[^\n|;]{0,200}\|\s{0,9}(sudo\s{1,9})?(\/[a-z\/]{3,20}\/)?((ba|da|k|z)?sh|python3?|perl|osascript)\b/
    condition:
        filesize < 4MB and any of them
}

rule apple_script_runs {
    meta:
        threat = "Heuristic.Script.AppleScript"
        outcome = "suspicious"
        evidence = "an AppleScript that runs commands of the shell"
    strings:
        $text = /do shell script\s{1,9}[^\n]{0,400}(curl|osascript|base64|administrator privileges|\/tmp\/|chmod|xattr|launchctl)/ nocase
        $compiled = "FasdUAS "
        $run = "sysoexec"
    condition:
        filesize < 4MB and ($text or $compiled at 0 and $run)
}

rule python_loader {
    meta:
        threat = "Heuristic.Script.Python"
        outcome = "suspicious"
        evidence = "a Python program that runs code it fetches or decodes"
    strings:
        $exec = /\bexec\s{0,9}\(\s{0,9}(compile\s{0,9}\(\s{0,9})?(\w{1,40}\.){0,3}(b64decode|decompress|loads|urlopen|fromhex|unhexlify|decode|get|__import__)\s{0,9}\(/
        $system = /\b(os\.system|os\.popen|subprocess\.\w{1,20})\s{0,9}\([^\n]{0,200}(curl|wget|powershell|mshta|certutil)\b/
    condition:
        filesize < 4MB and ($exec or $system) and (object_name iendswith ".py" or object_name iendswith ".pyw")
}

rule postscript_pipe {
    meta:
        threat = "Heuristic.Script.PostScript"
        outcome = "suspicious"
        evidence = "a PostScript file that starts a program"
    strings:
        $what = "%!"
        $pipe = /\(\s{0,9}%pipe%/
    condition:
        filesize < 20MB and $what at 0 and $pipe
}

rule terminal_settings {
    meta:
        threat = "Heuristic.Shortcut.Terminal"
        outcome = "suspicious"
        evidence = "settings of a terminal (macOS) that run a command when they are opened"
    strings:
        $what = "<plist" nocase
        $command = /<key>\s{0,20}CommandString\s{0,20}<\/key>\s{0,200}<string>\s{0,200}[^<\s]/ nocase
    condition:
        filesize < 1MB and all of them
}

rule location_of_program {
    meta:
        threat = "Heuristic.Shortcut.Location"
        outcome = "suspicious"
        evidence = "a location file (macOS) that opens something of this or another computer, and no page"
    strings:
        $what = "<plist" nocase
        $file = /<key>\s{0,20}URL\s{0,20}<\/key>\s{0,200}<string>\s{0,200}(file|smb|afp|nfs|ssh|applescript|x-man-page):/ nocase
    condition:
        filesize < 256KB and all of them
}

rule build_project {
    meta:
        threat = "Heuristic.Script.Build"
        outcome = "suspicious"
        evidence = "a project file (MSBuild) with code or commands that run when it is opened or built"
    strings:
        $what = "<Project" nocase
        $inline = /TaskFactory\s{0,9}=\s{0,9}["'](Roslyn)?CodeTaskFactory/ nocase
        $command = /<(Exec\s[^>]{0,200}Command\s{0,9}=|(Pre|Post)BuildEvent\s{0,9}>)[^<>]{0,400}(powershell|mshta|certutil|bitsadmin|rundll32|regsvr32|https?:)/ nocase
    condition:
        filesize < 1MB and $what and ($inline or $command)
}

rule playlist_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Playlist"
        outcome = "suspicious"
        evidence = "a list for a media player with entries on another host's share, which gets the reader's password hash"
    strings:
        $list = /<asx[\s>]|#EXTM3U|\[playlist\]/ nocase
        $share = /(\n|["'=])\s{0,9}(file:\/*)?([\\\/]{2,5})[^\\\/\s"'<>]{1,100}[.@][^\\\/\s"'<>]{1,100}\\/ nocase
        $address = /file:\/\/+[^\\\/\s"'<>:]{1,100}\.[^\\\/\s"'<>]{1,100}\// nocase
    condition:
        filesize < 256KB and $list and ($share or $address)
}

rule script_host_settings {
    meta:
        threat = "Heuristic.Shortcut.ScriptHost"
        outcome = "suspicious"
        evidence = "settings of the Windows script host (WSH), which start a script that lies elsewhere"
    strings:
        $what = "[ScriptFile]" nocase
        $path = /\nPath\s{0,9}=\s{0,9}[^\s]/ nocase
    condition:
        filesize < 64KB and all of them
}

rule contact_program {
    meta:
        threat = "Heuristic.Shortcut.Contact"
        outcome = "suspicious"
        evidence = "a contact of Windows whose address is a program"
    strings:
        $what = /<c:contact[\s>]/ nocase
        $program = /<c:Value[^>]{0,100}>[^<]{1,400}\.(cpl|exe|scr|bat|cmd|js|vbs|hta|lnk)\s{0,9}</ nocase
    condition:
        filesize < 1MB and all of them
}

rule calendar_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Calendar"
        outcome = "suspicious"
        evidence = "a calendar or contact with a file on another host's share, which gets the reader's password hash"
    strings:
        $what = /BEGIN:V(CALENDAR|CARD)/ nocase
        $share = /\n(ATTACH|URL|SOUND|PHOTO|KEY|X-[A-Z-]{1,60})[^\n:]{0,200}:\s{0,9}(file:\/\/+|\\\\+)[^\\\/\s:]{1,100}[.@][^\\\/\s]{1,100}[\\\/]/ nocase
    condition:
        filesize < 4MB and all of them
}

rule tunnel_script {
    meta:
        threat = "Heuristic.Shortcut.Tunnel"
        outcome = "suspicious"
        evidence = "settings of a tunnel (OpenVPN) that run a command when it is opened"
    strings:
        $what = /(^|\n)\s{0,9}script-security\s{1,9}[23]/
        $run = /\n\s{0,9}(up|down|route-up|ipchange|tls-verify|route-pre-down)\s{1,9}[^\n]{0,200}(\b(ba|da|z)?sh\s{1,9}-c|curl|wget|powershell|cmd(\.exe)?\s{0,9}\/c|mshta|certutil|python)/ nocase
    condition:
        filesize < 1MB and all of them
}
