/* Pages (HTML, SVG): what builds a file at the reader's side, or reaches out of the browser. */

rule page_smuggling {
    meta:
        threat = "Heuristic.Html.Smuggling"
        outcome = "suspicious"
        evidence = "a page that builds a file out of its own text and offers it as a download"
    strings:
        $offer1 = /createObjectURL\s{0,9}["'\]]{0,3}\s{0,9}\(/ nocase
        $offer2 = /msSave(OrOpen)?Blob/ nocase
        $offer3 = /\.download\s*=|setAttribute\s*\(\s*["']download/ nocase
        $offer4 = /\sdownload\s*=\s*["'][^"']{1,200}\.(zip|iso|img|exe|js|vbs|hta|lnk|rar|7z|xll|one|docm|xlsm|msi|vhd)["']/ nocase
        $build1 = "atob(" nocase
        $build2 = "fromCharCode" nocase
        $build3 = "Uint8Array" nocase
        $build4 = /["']data:application\/(octet-stream|zip|x-[\w-]{1,40});base64,[A-Za-z0-9+\/]{40}/ nocase
        $build5 = "charCodeAt" nocase
        $build6 = "DecompressionStream" nocase
        $click = /(\.|\[\s{0,9}["'])click["'\]\s]{0,9}\(/ nocase
        $blob = /new\s{1,9}(window\s{0,9}[.\[]?\s{0,9})?["']?(Blob|File)\b/ nocase
    condition:
        filesize < 20MB and (any of ($offer1, $offer2) or ($offer3 or $offer4) and $click) and any of ($build*) and
        ($blob or $click or $offer2)
}

rule page_table_command {
    meta:
        threat = "Heuristic.Office.TableDde"
        outcome = "suspicious"
        evidence = "a table in a page with a formula that starts a command interpreter (DDE) when Excel opens it"
    strings:
        $dde = /[>"']\s{0,20}[=+\-@][^<\n|]{0,40}\b(cmd|powershell|mshta|rundll32|regsvr32|msexcel|wscript)\s*\|[^<\n]{1,200}![^<\n]/ nocase
    condition:
        filesize < 8MB and $dde
}

rule page_hidden_names {
    meta:
        threat = "Heuristic.Html.Obfuscated"
        outcome = "suspicious"
        evidence = "a page whose script hides the names of what it calls in escapes"
    strings:
        $name = /\[\s{0,9}["'][A-Za-z]{0,12}(\\x[0-9a-fA-F]{2}[A-Za-z]{0,12}){1,30}["']\s{0,9}\]/
        $what = /<script/ nocase
    condition:
        filesize < 8MB and $what and #name >= 4
}

rule page_escapes_browser {
    meta:
        threat = "Heuristic.Html.Command"
        outcome = "suspicious"
        evidence = "a page that starts programs of the system"
    strings:
        $object = /(activexobject|createobject)\s*\(\s*["'](wscript\.shell|shell\.application|adodb\.stream|scripting\.filesystemobject)/ nocase
        $protocol = /["'=](ms-msdt:|search-ms:query|ms-officecmd:|ms-appinstaller:\?source)/ nocase
        $classid = /classid\s*=\s*["']?clsid:(F935DC22-1CF0-11D0-ADB9-00C04FD58A0B|13709620-C279-11CE-A49E-444553540000|adb880a6-d8ff-11cf-9377-00aa003b7a11)/ nocase
        $redirect = /location(\.href)?\s*=\s*["'](search-ms|ms-msdt|file:\/\/\\?\\?\d)/ nocase
    condition:
        filesize < 20MB and any of them
}

rule picture_with_script {
    meta:
        threat = "Heuristic.Svg.Script"
        outcome = "suspicious"
        evidence = "a picture (SVG) with a script that hides what it does, or leads elsewhere"
    strings:
        $picture = "<svg" nocase
        $script = /<script|\son(load|click|begin)\s*=|href\s*=\s*["']\s*javascript:/ nocase
        $what1 = /\b(atob|eval|unescape|fromCharCode|decodeURIComponent|createObjectURL)\b/ nocase
        $what2 = /(window|document|top|parent|self)?\.?location(\.href|\.assign|\.replace)?\s*(=|\()/ nocase
        $what3 = /<foreignobject/ nocase
    condition:
        filesize < 8MB and $picture in (0..4096) and $script and any of ($what*) and
        (object_name iendswith ".svg" or object_name iendswith ".svgz" or object_type == "image/svg+xml")
}
