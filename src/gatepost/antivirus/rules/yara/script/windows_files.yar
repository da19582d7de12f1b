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

rule registry_autostart {
    meta:
        threat = "Heuristic.Shortcut.Registry"
        outcome = "suspicious"
        evidence = "settings for the registry that have a command run at sign-in, or in place of a program"
    strings:
        $what = /(^|\n)\W{0,3}(Windows Registry Editor Version|REGEDIT4)/
        $where1 = /\\CurrentVersion\\(Policies\\Explorer\\)?Run(Once(Ex)?|Services)?[\\\]]/ nocase
        $where2 = /\\shell\\[^\\\]\n]{1,40}\\command\]/ nocase
        $where3 = /\\(Image File Execution Options\\|Winlogon\]|Active Setup\\Installed Components\\)/ nocase
        $command = /=\s*"[^\n]{0,200}(powershell|pwsh|cmd(\.exe)?\s{0,9}\/[ck]|mshta|rundll32|regsvr32|wscript|cscript|certutil|bitsadmin|https?:)/ nocase
    condition:
        filesize < 1MB and $what and any of ($where*) and $command
}

rule setup_information {
    meta:
        threat = "Heuristic.Shortcut.Setup"
        outcome = "suspicious"
        evidence = "setup information (INF) that runs commands or fetches code when it is installed"
    strings:
        $what = /signature\s{0,9}=\s{0,9}"?\$(chicago|windows (nt|95))\$/ nocase
        $run = /\n\s{0,9}(runpresetupcommands|runpostsetupcommands|registerocxs|unregisterocxs)\s{0,9}=/ nocase
        $command = /(powershell|pwsh|cmd(\.exe)?\s{0,9}\/[ck]|mshta|scrobj|https?:|certutil|bitsadmin)/ nocase
    condition:
        filesize < 1MB and all of them
}

rule automation_downloader {
    meta:
        threat = "Heuristic.Script.Automation"
        outcome = "suspicious"
        evidence = "a program of AutoIt or AutoHotkey that runs what it fetches"
    strings:
        $fetch1 = /\binetget\s{0,9}\(/ nocase
        $fetch2 = /\burldownloadtofile\b/ nocase
        $fetch3 = /(^|\n)\s{0,40}download[\s(,]{1,9}["']?https?:/ nocase
        $run = /(^|\n)\s{0,40}(\$\w{1,40}\s{0,9}=\s{0,9})?(run|runwait|shellexecute|shellexecutewait)\s{0,9}[,(\s]/ nocase
    condition:
        filesize < 4MB and (object_name iendswith ".au3" or object_name iendswith ".ahk") and any of ($fetch*) and $run
}
