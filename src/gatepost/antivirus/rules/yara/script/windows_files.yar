/*
   Small text files that Windows, Office or Java open at a click, and that fetch or start something then: libraries and
   searches on other hosts, themes, consoles, remote desktops, installers. Hosts inside a network have names without a
   dot: only addresses and full names count as other hosts.
*/

rule remote_library {
    meta:
        threat = "Heuristic.Shortcut.Library"
        outcome = "suspicious"
        evidence = "a library or search of Windows Explorer that shows files of another host as if they were here"
    strings:
        $what = /<(libraryDescription|searchConnectorDescription|persistedQuery)[\s>]/ nocase
        $web = /<url>\s*https?:/ nocase
        $share = /(<url>\s*|path\s*=\s*["'])(file:\/*)?[\\\/]{2,5}[^\\\/\s<"']{1,100}[.@][^\\\/\s<"']{1,100}[\\\/]/ nocase
    condition:
        filesize < 256KB and $what and ($web or $share)
}

rule settings_link {
    meta:
        threat = "Heuristic.Shortcut.Settings"
        outcome = "suspicious"
        evidence = "a link to a settings page (SettingContent-ms), which starts any command"
    strings:
        $what = "<PCSettings" nocase
        $command = /<DeepLink>\s*[^<]{0,400}(\.exe|cmd|powershell|mshta|rundll32|wscript|cscript)/ nocase
    condition:
        filesize < 256KB and all of them
}

rule remote_desktop {
    meta:
        threat = "Heuristic.Shortcut.RemoteDesktop"
        outcome = "suspicious"
        evidence = "a remote desktop connection that gives the other host all disks of the reader, or starts a program"
    strings:
        $address = /(^|\n)\W{0,3}(full )?address:s:/ nocase
        $disks = /drivestoredirect:s:\*/ nocase
        $start = /alternate shell:s:\S/ nocase
    condition:
        filesize < 256KB and object_name iendswith ".rdp" and $address and ($disks or $start)
}

rule remote_theme {
    meta:
        threat = "Heuristic.Shortcut.Theme"
        outcome = "suspicious"
        evidence = "a theme of Windows with parts on another host, which gets the reader's password hash"
    strings:
        $what = "[Theme]" nocase
        $share = /\n(wallpaper|path|brandimage|defaultvalue|soundscheme)\s*=\s*(file:\/*)?[\\\/]{2,5}[^\\\/\s]{1,100}[.@][^\\\/\s]{1,100}[\\\/]/ nocase
    condition:
        filesize < 256KB and all of them
}

rule icon_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Icon"
        outcome = "suspicious"
        evidence = "a link or folder file whose icon lies on another host, which gets the reader's password hash"
    strings:
        $what = /\[(InternetShortcut|Shell|\.ShellClassInfo)\]/ nocase
        $share = /\n(iconfile|iconresource|workingdirectory)\s*=\s*(file:\/*)?[\\\/]{2,5}[^\\\/\s]{1,100}[.@][^\\\/\s]{1,100}[\\\/]/ nocase
    condition:
        filesize < 64KB and all of them
}

rule console_command {
    meta:
        threat = "Heuristic.Shortcut.Console"
        outcome = "suspicious"
        evidence = "a management console (MSC) that runs scripts or commands"
    strings:
        $what = "<MMC_ConsoleFile" nocase
        $script = /(res:\/\/[^<]{0,100}apds\.dll|(java|vb)script:|transformNode|<!\[CDATA\[[^\]]{0,200}(activexobject|createobject))/ nocase
        $command = /(commandline|command)\s*=?[^<]{0,20}["'][^"'<]{0,200}(powershell|cmd(\.exe)?\s*\/|mshta|wscript|cscript|rundll32|https?:)/ nocase
    condition:
        filesize < 8MB and $what and ($script or $command)
}

rule installer_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Installer"
        outcome = "suspicious"
        evidence = "a file that fetches a program from another host and installs or starts it"
    strings:
        $clickonce = /<deploymentProvider\s[^>]{0,200}codebase\s*=\s*["']https?:/ nocase
        $reference = /^(\xef\xbb\xbf)?https?:\/\/[^\n]{1,1000}\.application#/ nocase
        $appinstaller = /<AppInstaller\s[^>]{0,1000}uri\s*=\s*["']https?:/ nocase
        $java = /<jnlp\s[^>]{0,1000}(codebase|href)\s*=\s*["']https?:/ nocase
    condition:
        filesize < 1MB and any of them
}

rule desktop_entry {
    meta:
        threat = "Heuristic.Shortcut.Desktop"
        outcome = "suspicious"
        evidence = "a desktop entry (Linux) that fetches or decodes something and runs it"
    strings:
        $what = "[Desktop Entry]"
        $run = /\nExec\s*=[^\n]{0,400}\b(ba|da|z)?sh\s+-c[^\n]{0,800}(curl|wget|base64|xxd|python|nc)\b/
    condition:
        filesize < 64KB and all of them
}
